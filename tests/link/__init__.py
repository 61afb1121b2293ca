"""The tests of linking share draws and a slow reference."""
