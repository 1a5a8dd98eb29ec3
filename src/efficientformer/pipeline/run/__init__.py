"""What a run is: its settings, its workspace, its stamps, its images, its console."""
