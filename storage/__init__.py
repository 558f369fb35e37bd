"""What must survive: the write-ahead log of a host, and the ledger of the collector."""
