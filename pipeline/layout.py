"""Where everything of a build is: each folder and file below OUTPUT is named here, and nowhere else."""

from dataclasses import dataclass

from pipeline import files

INGEST = ("images", "retrievals", "rejections")
LABELS = ("verdicts", "workers", "agreement", "precision", "rejections")


@dataclass(frozen=True)
class Layout:
    """The folders and files of the build in `output`, a local path or a URL."""

    output: str

    def _path(self, *names: str) -> str:
        return files.join(self.output, *names)

    @property
    def fetched(self) -> str:
        """Table of the outcome of each URL."""
        return self._path("fetch", "fetched")

    @property
    def bodies(self) -> str:
        """Folder of the journals of fetching and the stored bodies."""
        return self._path("fetch", "bodies")

    @property
    def ingest(self) -> dict[str, str]:
        """Tables of the ingest stage by name: images, retrievals, rejections."""
        return {name: self._path("ingest", name) for name in INGEST}

    @property
    def source_versions(self) -> str:
        """File with a digest of the versions of all files that ingest has read."""
        return self._path("ingest", "versions.json")

    @property
    def web_report(self) -> str:
        """File of counts by host and code."""
        return self._path("ingest", "report.json")

    @property
    def labels(self) -> dict[str, str]:
        """Tables of the label stage by name: verdicts, workers, agreement, precision, rejections."""
        return {name: self._path("labels", name) for name in LABELS}

    @property
    def label_passes(self) -> str:
        """Scratch folder of Dawid-Skene in passes."""
        return self._path("labels", "passes")

    def next_questions(self, ending: str) -> str:
        """File of the questions to ask next; `ending` is that of a labeling tool's form."""
        return self._path("labels", f"next_questions{ending}")

    @property
    def duplicates(self) -> str:
        """Table of the dedupe stage."""
        return self._path("dedupe", "duplicates")

    @property
    def split(self) -> str:
        """Folder of what the split stage writes beside the dataset."""
        return self._path("split")

    @property
    def examples(self) -> str:
        """Table of the examples of all sets, without pictures."""
        return self._path("split", "examples")

    @property
    def changes(self) -> str:
        """File that says how the sets differ from those of the build before."""
        return self._path("split", "changes.json")

    @property
    def dataset(self) -> str:
        """The dataset."""
        return self._path("dataset")

    def metrics(self, stage: str) -> str:
        """File of what the last job of a stage counted."""
        return self._path("metrics", f"{stage}.json")

    @property
    def lock(self) -> str:
        """File that the build at work in this folder has locked."""
        return self._path(".lock")

    @property
    def report(self) -> str:
        """The HTML report."""
        return self._path("report.html")
