"""The inference server: model repository, process, embedded launcher."""
