"""`cakd doctor`: would a run start on this machine, with this config, this data and this teacher?"""
