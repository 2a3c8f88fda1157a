#!/usr/bin/perl
# A worker without a shim: it answers {"name": ...} with a greeting, and keeps
# the names that it greeted for as long as it lives.
use strict;
use warnings;
use JSON::PP;

open my $in,  '<&=:raw', 3 or die "descriptor 3: $!";
open my $out, '>&=:raw', 4 or die "descriptor 4: $!";
$| = 1;    # what is printed is a log line; it must be out before the answer

sub frame { my ($line, @values) = @_; syswrite $out, join '', "$line\n", @values }
sub bytes { my $n = shift; read($in, my $data, $n) == $n or exit 0 if $n; $data // '' }

my %greeted;
while (defined(my $line = <$in>)) {
    my ($verb, $id, $deadline, $mode, $format, $meta, $n, @lengths) = split ' ', $line;
    frame('ready') if $verb eq 'start';
    last           if $verb eq 'drain';
    next           if $verb ne 'invoke';
    bytes($meta);    # what a context would say; not needed here
    my (@kinds, @values);
    for my $payload (map { bytes($_) } @lengths) {
        my $value = eval {
            my $name = decode_json($payload)->{name} // die "there is no name\n";
            print "greeting $name\n";
            encode_json({ greeting => "Hello, $name!", times => ++$greeted{$name} });
        };
        my $error = $@;
        chomp $error;
        push @values, $value // encode_json({ kind => 'error', name => 'Error', message => $error });
        push @kinds, (defined $value ? 'json:' : 'error:') . length $values[-1];
    }
    frame("result $id $n @kinds", @values);
}
