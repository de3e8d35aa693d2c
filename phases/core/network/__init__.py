"""The network of a habitat that may reach some hosts only.

The habitat has no interface but `lo`. A gate, a container in its network namespace, passes connections to a socket on a
volume that the habitat doesn't have. There a proxy, a container with a network, decides which of them go on.
"""
