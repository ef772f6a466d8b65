import os, signal, subprocess, sys


def main():
    match os.environ["HOW"]:
        case "import":
            import zoo.serve
        case "here":
            from gevent import monkey

            monkey.patch_all()
        case "child":
            child = subprocess.Popen([sys.executable, "-m", "zoo.serve"])
            signal.signal(signal.SIGTERM, lambda *_: child.terminate())
            print("begun", flush=True)
            sys.exit(0 if child.wait() in (0, -signal.SIGTERM) else 1)
        case "unpatched":
            from gevent.pywsgi import WSGIServer
            from zoo.application import app

            WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None).serve_forever()
        case "gunicorn":
            from gunicorn.app.wsgiapp import run

            sys.argv = ["gunicorn", "-k", "gevent", "-b", f"127.0.0.1:{os.environ['PORT']}", "zoo.application:app"]
            run()
