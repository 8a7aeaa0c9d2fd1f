"""A trained model and what it says of cells: embedding, imputed and differential accessibility."""
