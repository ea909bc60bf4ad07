"""The manifests in k8s/, and the image: they fit each other and the program."""
