"""A static page that separates songs in the browser, on the visitor's own machine.

folder   write the page: the network as ONNX, its description, scripts, an example song
runtime  the pinned version of onnxruntime-web, from a CDN or a local copy
server   serve the page on this machine
"""
