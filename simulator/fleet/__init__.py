"""Thousands of hosts that are not there, streaming to a collector that is: proof of a deployment, with known truth."""
