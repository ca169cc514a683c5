"""Cais as a library: build an image, look at it, run it.

Run it with the Python that Cais is installed in (.venv/bin/python examples/library.py); it needs the base image busybox
(make images). CAIS_ROOT moves the root directory, as everywhere.
"""

import os
import tempfile

import cais

DOCKERFILE = """\
FROM busybox
ARG GREETING
RUN echo "$GREETING" >/greeting
CMD ["cat", "/greeting"]
"""


def main() -> None:
    with cais.open() as engine, tempfile.TemporaryDirectory() as context:
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as file:
            file.write(DOCKERFILE)
        arguments = {"GREETING": "Hello from the library"}
        built = engine.builder.build(cais.BuildOptions(context, tags=["greeting"], build_args=arguments))
        print(f"built {built.names[0]}: {built.image_id} in {built.seconds:.2f} s")
        for image in engine.images.list(reference="greeting"):
            print(f"{image.repository}:{image.tag} has {image.size_bytes} bytes")
        for step in engine.images.history("greeting"):
            print(f"  {step.created_by}")
        print("it says:", flush=True)  # the container writes to the same standard output
        result = engine.containers.run(cais.RunOptions("greeting", networks=["none"], remove=True))
        print(f"and ended with exit code {result.exit_code}")
        engine.images.remove("greeting")


if __name__ == "__main__":
    main()
