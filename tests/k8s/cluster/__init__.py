"""A real Kubernetes control plane on this machine, without containers: `make k8s-apply`.

build.py makes its programs once, plane.py starts them, checks.py applies the overlays and looks at what happens. No
container runs, so images, probes and the effect of a NetworkPolicy are not tested.
"""
