"""What every stage needs: run folder, checkpoints, files and locks, devices, seeds, progress."""
