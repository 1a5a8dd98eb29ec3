"""Images with boxes around their objects: COCO JSON and YOLO folders, checked, and transforms that move the boxes."""
