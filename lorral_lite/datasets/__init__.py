"""Prepared folders of faces: the one format, its writers, and the sources they come from."""
