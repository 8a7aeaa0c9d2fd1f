"""The variational autoencoder, its loss terms, and the schedules of loss weights and learning rate."""
