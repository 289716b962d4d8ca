"""Shared parts of the HTML pages: template, style, script, tables, and safe display of untrusted text."""
