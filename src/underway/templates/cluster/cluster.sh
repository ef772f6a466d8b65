#!/bin/sh
# @RELEASE_NAME@ over a cluster: hands over to the launcher of the version that boots. The same for every version, so it
# never goes stale. Builtins only, but for readlink when called through a link.
set -e

self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -h "$self" ]; do
  link=$(readlink "$self")
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
exec "${self%/*}/@RELEASE_NAME@" cluster "$@"
