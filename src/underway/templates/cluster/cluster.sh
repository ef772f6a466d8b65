#!/bin/sh
# revision 3
# @RELEASE_NAME@ over a cluster: hands over to the launcher of the version that boots, by bin/@RELEASE_NAME@, which says how both
# stay up to date. Builtins only, but for readlink when called through a link.
set -e +u
unset -f readlink '[' # which bash takes from its environment

self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -h "$self" ]; do
  link=$(readlink "$self")
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
exec "${self%/*}/@RELEASE_NAME@" cluster "$@"
