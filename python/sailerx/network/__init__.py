"""The variational autoencoder, its loss term by term, and the schedules of their weights."""
