"""`cakd doctor`: would a run start on this machine?"""
