"""The nouns and the arithmetic. Reads no clock, no file and no environment."""
