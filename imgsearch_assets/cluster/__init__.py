"""Steps on a cluster: which of them are Kubernetes jobs, what is said when a pod does not work, and that one
that was lost has another. Only where ``IMGSEARCH_STEPS`` is ``pods``.
"""
