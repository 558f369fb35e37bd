"""The wire: the .proto files, what is generated from them, and the one door to the model."""
