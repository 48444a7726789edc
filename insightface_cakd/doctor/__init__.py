"""`cakd doctor`: would a run start on this machine?

It examines the installation, the checkout, the config, the data and the teacher.
"""
