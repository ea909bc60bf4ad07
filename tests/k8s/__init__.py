"""Tests that the manifests in k8s/, the image and the program fit each other."""
