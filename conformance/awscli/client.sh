# What the steps share: calling the CLI, and checks. $name is the step's own
# queue name, $tmp a folder.

sqs() { "$aws" sqs "$@"; }

# ask QUERY ARGUMENT...: the members that a JMESPath query picks out of the
# answer, as tab-separated text; absent ones are "None".
ask() {
  local query=$1
  shift
  sqs "$@" --output text --query "$query"
}

# create [SUFFIX [ATTRIBUTES]]: makes a queue of the step and prints its URL.
create() {
  if [ -n "${2:-}" ]; then
    ask QueueUrl create-queue --queue-name "$name${1:-}" --attributes "$2"
  else
    ask QueueUrl create-queue --queue-name "$name${1:-}"
  fi
}

# counts URL: visible, in flight, delayed.
counts() {
  local a=ApproximateNumberOfMessages
  ask "Attributes.[$a, ${a}NotVisible, ${a}Delayed] | join(' ', @)" \
    get-queue-attributes --queue-url "$1" --attribute-names $a ${a}NotVisible ${a}Delayed
}

arn() { ask Attributes.QueueArn get-queue-attributes --queue-url "$1" --attribute-names QueueArn; }

send() { sqs send-message --queue-url "$1" --message-body "$2" "${@:3}"; }

# receive URL QUERY ARGUMENT...: one receive that waits up to 5 s.
receive() { ask "$2" receive-message --queue-url "$1" --wait-time-seconds 5 "${@:3}"; }

fail() {
  echo "$*" >&2
  exit 1
}

equal() { # GOT WANT WHAT
  [ "$1" = "$2" ] || fail "$3: got $(printf %.400q "$1"), want $(printf %.400q "$2")"
}

# refused CODES ARGUMENT...: the call must end with one of the codes (an
# extended regular expression), which the CLI takes from the header
# x-amzn-query-error, and with the exit code for a service error, 254.
refused() {
  local codes=$1 code=0 said call
  shift
  call="aws sqs $*"
  said=$(sqs "$@" 2>&1 | tr '\n' ' ') || code=$?
  [ "$code" = 254 ] || fail "${call:0:200}: got exit code $code and ${said:0:200}, want 254 for $codes"
  [[ $said =~ \(($codes)\) ]] || fail "${call:0:200}: got ${said:0:400}, want the code $codes"
}

# now prints the time in ms.
now() {
  local t=${EPOCHREALTIME/[^0-9]/}
  echo "${t%???}"
}

# block TEXT: length in 4 bytes, big end first, and the text, which is ASCII.
block() {
  printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((${#1} >> 24)) $((${#1} >> 16 & 255)) $((${#1} >> 8 & 255)) $((${#1} & 255)))"
  printf %s "$1"
}

# attribute NAME TYPE VALUE: what goes into the MD5 of attributes, in order of name.
attribute() {
  block "$1"
  block "$2"
  case $2 in
  Binary*) printf '\x02' ;;
  *) printf '\x01' ;;
  esac
  block "$3"
}

md5() { md5sum | cut -d' ' -f1; }
