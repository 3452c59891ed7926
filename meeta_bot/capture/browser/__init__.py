"""Chromium, the pages of deployments in it, and what goes between a page and Python. Only here is Playwright known."""
