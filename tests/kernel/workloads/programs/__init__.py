"""The workload programs, one module per area; they run in processes of their own, by run.py."""
