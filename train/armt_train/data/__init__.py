"""Training text and word lists, made from packages of Debian, npm and PyPI."""
