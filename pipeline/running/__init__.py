"""Run jobs: choose the engine, watch a job, and decide whether a stage has to run at all."""
