"""How the tests start Java."""

# Nearly half of a JVM's work in a minute of small jobs is optimising code that it then leaves. If
# nothing is optimised, Java keeps 48 MB for compiled code, which a few files of tests fill.
OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=256m",
    "-XX:MetaspaceSize=256m",
    "-XX:+UseSerialGC",
    "-Xmn256m",
)
