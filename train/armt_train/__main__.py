from armt_train.cli import main

main()
