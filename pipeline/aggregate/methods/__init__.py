"""Aggregation methods: eight models that estimate posteriors from integer-coded votes (`registry.estimate_posterior`)."""
