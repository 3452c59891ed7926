"""Bounds that several parts must agree on. What can be set is in :mod:`meeta_bot.settings`."""

from __future__ import annotations

LARGEST_NUMBER = 2**53  # in size, of a number in JSON: larger whole numbers are not exact in every reader
LARGEST_BIGINT = 2**63 - 1  # what a column of PostgreSQL holds
MISSED_HEARTBEATS = 4  # so many in a row are a silence, and readers call a capture lost
