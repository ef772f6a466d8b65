import importlib
import os


def main():
    importlib.import_module(f"jobs.with_{os.environ['WORKER']}").main()
