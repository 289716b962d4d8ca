"""A Dataflow Flex Template: stages started from the console, by gcloud or by a scheduler (docs/how-to/dataflow.md)."""
