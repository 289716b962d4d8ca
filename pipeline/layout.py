"""Folders and files of a build, all below its output folder."""

from dataclasses import dataclass

from pipeline import files

STAGES = ("fetch", "ingest", "aggregate", "embed", "dedupe", "split")


def stage_of(folder: str) -> str | None:
    """Return the stage that writes a folder of a build, or None for other folders."""
    parts = folder.rstrip("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-2] in STAGES else None


@dataclass(frozen=True)
class Layout:
    """Paths of a build; `Layout("")` gives paths relative to the output folder.

    The names inside a dataset are part of its format: see `schemas/example.py` and `schemas/manifest.py`.
    """

    output: str

    @property
    def fetched(self) -> str:
        """Table of the result for each URL of the lists."""
        return self._path("fetch", "fetched")

    @property
    def bodies(self) -> str:
        """Folder of the journals of fetching and of the stored bodies."""
        return self._path("fetch", "bodies")

    @property
    def links(self) -> str:
        """Folder of the ledger of link rot, one Parquet file per check; written by `check-links`."""
        return self._path("links")

    @property
    def images(self) -> str:
        """Table of the images of all lists, with their encoded bytes."""
        return self._path("ingest", "images")

    @property
    def retrievals(self) -> str:
        """Table of the list rows that have an image."""
        return self._path("ingest", "retrievals")

    @property
    def rejections(self) -> str:
        """Table of the list rows without an image, with the reason."""
        return self._path("ingest", "rejections")

    @property
    def ingest_tables(self) -> dict[str, str]:
        """Folders of the tables that the ingest stage writes, by name."""
        return {"images": self.images, "retrievals": self.retrievals, "rejections": self.rejections}

    @property
    def source_versions(self) -> str:
        """JSON file with a digest of the versions of all files that ingest read."""
        return self._path("ingest", "versions.json")

    @property
    def verdicts(self) -> str:
        """Table of verdicts, one for each question."""
        return self._path("aggregate", "verdicts")

    @property
    def workers(self) -> str:
        """Table of workers."""
        return self._path("aggregate", "workers")

    @property
    def agreement(self) -> str:
        """Table of agreement measures."""
        return self._path("aggregate", "agreement")

    @property
    def retrieval_precision(self) -> str:
        """Table of retrieval precision by class, search method and rank."""
        return self._path("aggregate", "retrieval_precision")

    @property
    def error_model(self) -> str:
        """Table of the uncertainty of the probabilities that verdicts are wrong."""
        return self._path("aggregate", "error_model")

    @property
    def vote_rejections(self) -> str:
        """Table of rejected votes, with the reason."""
        return self._path("aggregate", "rejections")

    @property
    def gold_votes(self) -> str:
        """Table of votes on clean images."""
        return self._path("aggregate", "gold_votes")

    @property
    def aggregate_tables(self) -> dict[str, str]:
        """Folders of the tables that the aggregate stage writes, by name."""
        return {
            "verdicts": self.verdicts,
            "workers": self.workers,
            "agreement": self.agreement,
            "retrieval_precision": self.retrieval_precision,
            "error_model": self.error_model,
            "rejections": self.vote_rejections,
            "gold_votes": self.gold_votes,
        }

    @property
    def aggregate_distributed_em(self) -> str:
        """Folder of the intermediate tables of distributed Dawid-Skene; removed when the stage is done."""
        return self._path("aggregate", "distributed_em")

    def next_questions(self, ending: str) -> str:
        """File of the questions of the next round; `ending` is a suffix such as .csv."""
        return self._path("aggregate", f"next_questions{ending}")

    @property
    def features(self) -> str:
        """Table of the features of all images; written only if `embed.weights` is set."""
        return self._path("embed", "features")

    @property
    def partial_features(self) -> str:
        """Folder of the finished buckets of an embed stage that is running or was interrupted."""
        return self._path("embed", "partial")

    @property
    def duplicates(self) -> str:
        """Table of near-duplicates and leaks."""
        return self._path("dedupe", "duplicates")

    @property
    def suspects(self) -> str:
        """Table of how probably each verdict and each given label is wrong; written by `audit`."""
        return self._path("audit", "suspects")

    def audit_questions(self, ending: str) -> str:
        """File of the questions whose verdicts are most probably wrong; `ending` is a suffix such as .csv."""
        return self._path("audit", f"next_questions{ending}")

    @property
    def split(self) -> str:
        """Folder of the split stage's output other than the dataset."""
        return self._path("split")

    @property
    def examples(self) -> str:
        """Table of the examples of all sets, without images."""
        return self._path("split", "examples")

    @property
    def changes(self) -> str:
        """JSON file with counts of the differences between these sets and those of the previous build."""
        return self._path("split", "changes.json")

    @property
    def dataset(self) -> str:
        """Folder of the dataset: the training sets, the test set, the card."""
        return self._path("dataset")

    def outputs(self, stage: str) -> tuple[str, ...]:
        """Folders of the tables that a stage commits together; for the split stage, the lists of examples and the dataset."""
        return {
            "fetch": (self.fetched,),
            "ingest": tuple(self.ingest_tables.values()),
            "aggregate": tuple(self.aggregate_tables.values()),
            "embed": (self.features,),
            "dedupe": (self.duplicates,),
            "split": (self.examples, self.dataset),
        }[stage]

    def metrics(self, stage: str) -> str:
        """JSON file with the metrics of a stage's last run."""
        return self._path("metrics", f"{stage}.json")

    @property
    def jobs(self) -> str:
        """Folder of the records of submitted jobs."""
        return self._path("jobs")

    def job(self, stage: str) -> str:
        """JSON file with the record of a stage's last job that was submitted to a service."""
        return self._path("jobs", f"{stage}.json")

    @property
    def report(self) -> str:
        """HTML page of the report."""
        return self._path("report.html")

    @property
    def lock(self) -> str:
        """Empty file that a running build locks."""
        return self._path(".lock")

    @property
    def leases(self) -> str:
        """Folder of the leases that replace the lock in object stores."""
        return self._path(".lease")

    def _path(self, *names: str) -> str:
        return files.join(self.output, *names)
