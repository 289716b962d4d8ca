"""Starting and watching jobs: runners and their options, progress, metrics, stage keys, locks, rejection limits."""
