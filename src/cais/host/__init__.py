"""Host: Linux, and nothing of images. Files, locks, tar streams, compression, mounts, namespaces, processes, database.

It is handed paths and values and reads no environment. Everything above may enter; it imports only the words.
"""
