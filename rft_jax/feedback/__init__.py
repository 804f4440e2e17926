"""What users say about answers, kept for good, and the ledger of what has been learned from it."""
