"""A frame to a class the straightforward way, as one writes it from the interpreter's and OpenCV's tutorials.

    python plain.py MODEL.tflite X,Y,WIDTH,HEIGHT FRAME.jpg [FRAME.jpg ...]

It is what busi-kd's own way is measured against (convert/race/frames.py), and needs only OpenCV, numpy and
ai-edge-litert. Research use only, never a diagnosis.
"""

import sys

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

CLASSES = ("benign", "malignant", "normal")
SIZE = 224


def open_way(model, threads, region, mean=0.5, std=0.5):
    """Returns a function: bytes of a JPEG -> its class. region: x, y, width, height of the picture in the frame."""
    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    x, y, width, height = region

    def classify(jpeg):
        frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        picture = cv2.cvtColor(frame[y : y + height, x : x + width], cv2.COLOR_BGR2GRAY)
        picture = cv2.resize(picture, (SIZE, SIZE))
        picture = (picture.astype(np.float32) / 255.0 - mean) / std
        interpreter.set_tensor(input_index, picture[np.newaxis, :, :, np.newaxis])
        interpreter.invoke()
        logits = interpreter.get_tensor(output_index)[0]
        probabilities = np.exp(logits) / np.sum(np.exp(logits))
        label = CLASSES[int(np.argmax(probabilities))]
        return {"class": label, "verdict": label}

    return classify


if __name__ == "__main__":
    way = open_way(sys.argv[1], 1, [int(word) for word in sys.argv[2].split(",")])
    for name in sys.argv[3:]:
        with open(name, "rb") as file:
            print(name, way(file.read())["class"])
