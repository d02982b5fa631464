@phase11 @night @chaos
Feature: A night of faults costs no acknowledged write
  Faults are drawn from the whole library by the run's seed, one after the other, for as many minutes as are given,
  while a node that is spared keeps a ledger of its writes, all paths are watched, and every guest is asked whether it
  lives. The same seed draws the same sequence. The next fault only comes once full redundancy is back.

  Scenario: Faults come until the night is over
    Given every server is installed as a node
    And every node's network is configured
    And the storage cluster is built and whole
    And the guests that are ordered run
    When faults are drawn from the library one after the other until the night is over
    Then every fault was seen in, was healed, and full redundancy came back
    And every interruption stands beside what was predicted
    And no acknowledged write of the night is lost
    And no guest ran twice, and no guest lost a beat that it had told
