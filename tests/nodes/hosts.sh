#!/usr/bin/env bash
# hosts.sh COMMAND: hosts with a real network between them, on one machine, for tests and
# measurements. Each host is a network namespace on a bridge, with a name, a /dev/shm and a loopback
# of its own; all share this machine's cores. Needs root and iproute2; nothing outside this machine
# is reached. One set of hosts at a time.
#   hosts.sh up N RATE              N hosts (1 to 200) on links of RATE, as tc has it: 10gbit, 1gbit
#   hosts.sh mpirun PER_HOST ARG…   Open MPI over the hosts, PER_HOST ranks on each
#   hosts.sh on K COMMAND…          COMMAND on host K (from 0)
#   hosts.sh cut A B                no packet passes between hosts A and B any more
#   hosts.sh bytes                  bytes that each host has sent on its link so far
#   hosts.sh down                   takes the hosts away, whatever is left of them
set -euo pipefail
state=/tmp/th-hosts.$(id -u)
net=10.78.0
fail() { echo "hosts.sh: error: $*" >&2; exit 2; }
count() {
  cat "$state/count" 2>/dev/null || fail "there are no hosts; 'hosts.sh up N RATE' makes them"
}
# Ranks run in the folder where mpirun was started.
enter() {
  local host=$1
  shift
  exec ip netns exec "thhost$host" unshare --uts --mount bash -c \
    'hostname "thhost$0"; mount -t tmpfs -o size=8g tmpfs /dev/shm; exec "$@"' "$host" "$@"
}
up() {
  [ ! -e "$state/count" ] || fail "hosts are up; 'hosts.sh down' takes them away"
  mkdir -p "$state"
  echo "$1" >"$state/count"
  ip link add thhosts type bridge
  ip link set thhosts up
  local k
  for k in $(seq 0 $(($1 - 1))); do
    ip netns add "thhost$k"
    ip link add "thport$k" type veth peer name eth0 netns "thhost$k"
    ip link set "thport$k" master thhosts up
    ip -n "thhost$k" addr add "$net.$((k + 1))/24" dev eth0
    ip -n "thhost$k" link set eth0 up
    ip -n "thhost$k" link set lo up
    tc -n "thhost$k" qdisc add dev eth0 root tbf rate "$2" burst 256kb latency 100ms
  done
  echo "hosts.sh: $1 hosts, $2"
}
over_hosts() {
  local hosts per=$1 k
  hosts=$(count)
  shift
  for k in $(seq 0 $((hosts - 1))); do echo "$net.$((k + 1)) slots=$per"; done >"$state/hosts"
  # Open MPI starts its daemons by this in place of ssh.
  cat >"$state/rsh" <<END
#!/usr/bin/env bash
host=\$1
shift
exec "$(readlink -f "$0")" on \$((\${host##*.} - 1)) bash -c "cd $(printf %q "$PWD") && \$*"
END
  chmod +x "$state/rsh"
  exec "$0" on 0 mpirun --hostfile "$state/hosts" -np $((hosts * per)) \
    --mca plm_rsh_agent "$state/rsh" --mca plm_rsh_no_tree_spawn 1 --bind-to none \
    --mca btl self,vader,tcp --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 "$@"
}
# Packets go to an address that nobody has, so that they vanish without an error, as in a firewall.
cut_pair() {
  ip -n "thhost$1" neigh replace "$net.$(($2 + 1))" lladdr 02:00:00:00:00:99 dev eth0 nud permanent
  ip -n "thhost$2" neigh replace "$net.$(($1 + 1))" lladdr 02:00:00:00:00:99 dev eth0 nud permanent
}
down() {
  local k
  for k in $(seq 0 $(($(cat "$state/count" 2>/dev/null || echo 0) - 1))); do
    ip netns del "thhost$k" 2>/dev/null || true
  done
  ip link del thhosts 2>/dev/null || true
  rm -rf "$state"
}
case ${1:-} in
  up) [ $# = 3 ] || fail "up takes N and RATE"; up "$2" "$3" ;;
  mpirun) [ $# -gt 2 ] || fail "mpirun takes PER_HOST and a program"; shift; over_hosts "$@" ;;
  on)
    [ $# -gt 2 ] || fail "on takes K and a command"
    [ "$2" -lt "$(count)" ] || fail "there is no host $2"
    shift
    enter "$@"
    ;;
  cut) [ $# = 3 ] || fail "cut takes two hosts"; cut_pair "$2" "$3" ;;
  bytes)
    for k in $(seq 0 $(($(count) - 1))); do
      echo "thhost$k $(ip netns exec "thhost$k" cat /sys/class/net/eth0/statistics/tx_bytes)"
    done
    ;;
  down) down ;;
  *) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
