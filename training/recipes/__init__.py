"""Recipes: functions from a noise level to a training configuration, with the expected accuracy and time."""
