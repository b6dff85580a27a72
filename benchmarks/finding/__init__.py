"""The chapters of docs/findings.md, each made of the records of courses; nothing in them is typed by hand but the frame."""
