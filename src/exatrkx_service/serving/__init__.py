"""The inference server: model repository, process, launchers."""
