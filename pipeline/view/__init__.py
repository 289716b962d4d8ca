"""Local web server for browsing the images of a build."""
