#!/bin/sh
# revision 4
# @RELEASE_NAME@ over a cluster: hands over to the launcher of the version that boots, by bin/@RELEASE_NAME@, which says how both
# stay up to date. Builtins only, but for readlink when called through a link.
set -e +u
unset -f readlink '[' # which bash takes from its environment

_self=$0
case $_self in */*) ;; *) _self=./$_self ;; esac
while [ -h "$_self" ]; do
  _link=$(readlink "$_self")
  case $_link in /*) _self=$_link ;; *) _self=${_self%/*}/$_link ;; esac
done
exec "${_self%/*}/@RELEASE_NAME@" cluster "$@"
