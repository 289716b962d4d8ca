"""The audit of a build: from features and verdicts to suspects, with the estimated share of wrong labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.confident import confident_joint, joint_distribution
from pipeline.audit.consensus import combine, votes_from_patterns
from pipeline.audit.evidence import Evidence, collect_evidence
from pipeline.audit.inputs import NO, SOURCES, STATES, UNDECIDED, YES, AuditInputs
from pipeline.audit.label_errors import (
    QUANTILES,
    EstimatedShare,
    error_probabilities,
    plant_errors,
    visible_errors,
)
from pipeline.audit.probe import UNLABELED, Blocks
from pipeline.audit.transition import GROUPS, Transition, estimate_transition

GIVEN_SOURCES = ("clean", "test")
SAMPLE_VALUES = 10_000_000  # class probabilities kept of each source, to estimate its share of wrong labels
CONFUSIONS = 20  # of a source, in the facts


@dataclass(frozen=True)
class Audit:
    """The result for m questions, in their order; NaN where there is nothing to say.

    p_error: probability that the verdict or given label is wrong. p_wrong, p_wrong_votes, p_wrong_features: probability that
    the image does not show the class, by all evidence, by votes, by features. facts: for the manifest.
    """

    p_error: np.ndarray
    p_wrong: np.ndarray
    p_wrong_votes: np.ndarray
    p_wrong_features: np.ndarray
    evidence: Evidence
    facts: dict[str, Any]


def audit(blocks: Blocks, inputs: AuditInputs) -> Audit:
    """Audit all questions. Raises ValueError if too few images are labeled for a probe."""
    evidence = collect_evidence(blocks, inputs, sample(inputs))
    p_features = 1 - evidence.own
    p_wrong, p_votes = p_features.copy(), inputs.p_wrong.copy()
    facts: dict[str, Any] = {"labels": {}, "probe": _probe_facts(inputs, evidence)}
    for source in GIVEN_SOURCES:
        rows = np.flatnonzero(inputs.sources == SOURCES.index(source))
        if len(rows):
            p_wrong[rows], facts["labels"][source] = _given_labels(rows, inputs, evidence)
    voted = np.flatnonzero(inputs.counts.sum(axis=1) > 0)
    if len(voted):
        yes = 1 - p_votes[voted]
        if np.isnan(yes).any():
            yes = votes_from_patterns(inputs.counts[voted], evidence.own[voted])
            p_votes[voted] = 1 - yes
        consensus = combine(yes, evidence.own[voted])
        p_wrong[voted], p_features[voted] = 1 - consensus.combined, 1 - consensus.model
        facts["consensus"] = {"intercept": consensus.intercept, "slope": consensus.slope}
    p_error = np.where(inputs.states == NO, 1 - p_wrong, p_wrong)
    p_error[np.isin(inputs.states, (UNDECIDED, STATES.index("no votes")))] = np.nan
    facts["verdicts"] = _verdict_facts(inputs, p_error, p_votes)
    return Audit(p_error, p_wrong, p_votes, p_features, evidence, facts)


def sample(inputs: AuditInputs) -> np.ndarray:
    """Return the questions about clean and test images whose class probabilities are kept, int64, ascending."""
    most = max(SAMPLE_VALUES // len(inputs.class_names), 1)
    chosen = []
    for source in GIVEN_SOURCES:
        rows = np.flatnonzero(inputs.sources == SOURCES.index(source))
        order = inputs.order[inputs.question_images[rows]]
        chosen.append(rows[np.argsort(order, kind="stable")[:most]])
    return np.sort(np.concatenate(chosen))


def _given_labels(
    rows: np.ndarray, inputs: AuditInputs, evidence: Evidence
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the probability that each given label of a source is wrong, and the facts about the source."""
    of_source = np.isin(evidence.sampled, rows)
    probabilities = evidence.probabilities[of_source].astype(np.float64)
    sampled = evidence.sampled[of_source]
    labels = inputs.question_classes[sampled]
    # By image, not by fold, which is the remainder of the same hash by another number.
    groups = (inputs.order[inputs.question_images[sampled]] // np.uint64(5) % np.uint64(GROUPS)).astype(
        np.int64
    )
    planted = plant_errors(probabilities, labels)
    visible = visible_errors(evidence.own[sampled], planted)
    transition = estimate_transition(probabilities, labels, groups)
    estimate = combine_estimates(visible, transition.noise)
    joint = joint_distribution(confident_joint(probabilities, labels), labels)
    facts = {
        "images": len(rows),
        "wrong": _rounded(estimate),
        "visible": _rounded(visible),
        "by_transition": _rounded(transition.noise),
        "by_confident_learning": round(float(1 - np.trace(joint)), 6),
        "confusions": _confusions(transition, inputs.class_names),
    }
    # Even if no label is visibly wrong, the order of the labels is kept: one more may be.
    share = max(visible.share, 1 / (QUANTILES[0] * len(sampled)))
    return error_probabilities(evidence.own[rows], planted, share), facts


def combine_estimates(visible: EstimatedShare, modeled: EstimatedShare) -> EstimatedShare:
    """Combine the share of visibly wrong labels, which is too low, with that of the transition matrix, which is too high
    for few wrong labels: the share is their mean, the interval covers both."""
    return EstimatedShare(
        (visible.share + modeled.share) / 2, min(visible.low, modeled.low), max(visible.high, modeled.high)
    )


def _confusions(transition: Transition, class_names: list[str]) -> list[dict[str, Any]]:
    """Return the most frequent transitions to another class, most frequent first."""
    shares = np.round(transition.matrix, 6)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares.ravel(), kind="stable")[:CONFUSIONS]
    return [
        {
            "true": class_names[row],
            "given": class_names[column],
            "share": float(shares[row, column]),
            "low": round(float(transition.low[row, column]), 6),
            "high": round(float(transition.high[row, column]), 6),
        }
        for row, column in zip(*np.unravel_index(order, shares.shape), strict=True)
        if shares[row, column] > 0
    ]


def _probe_facts(inputs: AuditInputs, evidence: Evidence) -> dict[str, Any]:
    probe = evidence.probe
    return {
        "images": int((inputs.labels != UNLABELED).sum()),
        "penalty": probe.penalty,
        "temperature": probe.temperature,
        "log_loss": round(probe.log_loss, 6),
    }


def _verdict_facts(inputs: AuditInputs, p_error: np.ndarray, p_votes: np.ndarray) -> dict[str, Any]:
    """Return the expected share of wrong verdicts, by the votes alone and by all evidence."""
    facts = {}
    for state in (YES, NO):
        rows = inputs.states == state
        if rows.any():
            by_votes = 1 - p_votes[rows] if state == NO else p_votes[rows]
            facts[STATES[state]] = {
                "questions": int(rows.sum()),
                "wrong_by_votes": round(float(by_votes.mean()), 6),
                "wrong": round(float(p_error[rows].mean()), 6),
            }
    return facts


def _rounded(estimate: EstimatedShare) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in vars(estimate).items()}
