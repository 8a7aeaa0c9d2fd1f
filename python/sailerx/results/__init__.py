"""The trained model and its results: embedding, imputed accessibility, differential accessibility."""
