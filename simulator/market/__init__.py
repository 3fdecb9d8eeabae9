"""Auction, budgets and ledger."""
