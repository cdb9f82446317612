"""The networks: definition, training, weights, TorchScript export, model card."""
